"""The admission plugins of the house, named as upstream names them."""
