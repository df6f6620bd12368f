"""The interactive page "Charge your features": one file that needs no network."""
