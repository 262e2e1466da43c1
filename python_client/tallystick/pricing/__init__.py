"""Price lists from elsewhere, in the form that `Client.load_prices` takes."""
