"""The engine: a state goes in, a segment is trained, a state comes out."""
