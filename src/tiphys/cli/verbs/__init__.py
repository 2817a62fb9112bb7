"""One file per verb or small group of verbs; see `table` for which is where."""
