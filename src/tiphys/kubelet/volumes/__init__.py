"""The volumes of pods on this node. https://kubernetes.io/docs/concepts/storage/volumes/"""
