"""What the Slicer module is made of, apart from its panel. No torch is loaded here."""
