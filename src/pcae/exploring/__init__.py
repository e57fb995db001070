"""A page on this machine that answers about some images: `pcae explore`"""
