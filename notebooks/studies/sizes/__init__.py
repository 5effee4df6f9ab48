"""Large models and many processes: what runs took, gaps against size, plans on paper."""
