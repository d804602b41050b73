"""The labelled set: what readers said of which studies, and their images, without anybody's identity."""
