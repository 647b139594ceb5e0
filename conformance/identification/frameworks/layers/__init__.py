"""How layers are asked, framework by framework: made, run with other arrays, and drawn anew."""
