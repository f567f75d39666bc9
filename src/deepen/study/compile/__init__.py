"""From a study to the tree of segments that has to be trained."""
