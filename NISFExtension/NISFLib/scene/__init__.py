"""The scene side: MRML nodes of one heart, made from the files that `nisf` wrote."""
