"""Which implementation to take: what each costs and gives on one training, side by side, and one for each goal."""
