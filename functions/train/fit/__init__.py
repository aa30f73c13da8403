"""From the train and tune parts to a fitted network, within the time budget."""
