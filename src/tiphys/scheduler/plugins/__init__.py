"""One file per plugin, named as upstream names them."""
