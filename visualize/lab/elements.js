// Elements of the page: those that are there, and new ones.

const $ = (id) => document.getElementById(id);

function element(kind, properties) {
  return Object.assign(document.createElement(kind), properties);
}
