"""Labels held against votes: noise found, reviewed, mended."""
