"""Formulas as MathML, written while the site is built: every browser draws it, none fetches it."""

import html
import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import get_node_equation_number

NAMES = "(?:ln|log|exp|sin|cos|tan|sinh|cosh|tanh|max|min|arg)"
ROOM = '<mspace width="0.17em"></mspace>'
FLAT = '(?: fence="false")?(?: stretchy="false")?'
TIGHT = 'lspace="0em" rspace="0em"'
INSIDE = "".join(f"(?<!<{tag}>)" for tag in ("msup", "msub", "msubsup", "munder", "mover", "mfrac"))
#: What browsers draw otherwise than TeX does, and what they are told instead.
MENDED = (
    # a prime is high enough as it is
    ("<msup>(<mi>[^<]*</mi>)<mi>(&#x02032;)</mi></msup>", rf"<mrow>\1<mo {TIGHT}>\2</mo></mrow>"),
    ("<mo>&#x0002F;</mo>", f"<mo {TIGHT}>/</mo>"),
    # a sign after "(", ",", "=", "<=" or an arrow
    (
        r"(<mo[^>]*>&#x0(?:0028|002C|003D|2264|2190|2192);</mo>)<mo>(&#x02212;)</mo>",
        r'\1<mo form="prefix">\2</mo>',
    ),
    ("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>"),  # \sim
    (rf"<mo{FLAT}>(&#x0(?:007C|2016);)</mo>", rf'<mo stretchy="false" {TIGHT}>\1</mo>'),
    (rf"{INSIDE}(<mi>{NAMES}</mi>)(?=<m(?:i|n|sub|sup|row|frac|sqrt)\b)", rf"\1{ROOM}"),
    (rf"(?<=</m[in]>)(?=(?:<m(?:sup|sub)>)?<mi>{NAMES}</mi>)", ROOM),
    ('<mstyle scriptlevel="0"><mo>(&#x219[02];)</mo></mstyle>', r"<mo>\1</mo>"),  # \xrightarrow
    (r'<mpadded width="\+0.833em".*?>(.*?)<mspace depth=".25em" /></mpadded>', r"<mrow>\1</mrow>"),
)


def mathml(latex: str, display: str) -> str:
    """The MathML of a formula; ``display`` is "inline" or "block"."""
    if r"\\" in latex and r"\begin" not in latex:
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    latex = re.sub(r"\\(arg)\b", r"\\operatorname{\1}", latex)  # latex2mathml lacks it
    try:
        markup = convert(latex, display=display)
    except Exception as error:  # it has a dozen kinds, none with a common base
        raise ExtensionError(f"this formula cannot be written as MathML: {latex}") from error
    for drawn, told in MENDED:
        markup = re.sub(drawn, told, markup)
    unknown = re.findall(r">\s*(\\[A-Za-z]+)", html.unescape(markup))
    if unknown:
        raise ExtensionError(f"latex2mathml does not know {unknown} in {latex}")
    return markup


def visit_math(self: Any, node: nodes.math) -> None:
    """A formula within a line."""
    self.body.append(f'<span class="math">{mathml(node.astext(), "inline")}</span>')
    raise nodes.SkipNode


def visit_display(self: Any, node: nodes.math_block) -> None:
    """A formula of its own."""
    number = ""
    if node.get("number"):
        number = f'<span class="eqno">({get_node_equation_number(self, node)})</span>'
    self.body.append(self.starttag(node, "div", CLASS="math"))
    self.body.append(f"{number}{mathml(node.astext(), 'block')}</div>")
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
