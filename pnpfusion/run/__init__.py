"""The three ways to run a law; each verb lives in a module of its own name."""
