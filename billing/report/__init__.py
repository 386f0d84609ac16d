"""Reports only add: `period` says from when to when, `bridge` sums movements, `render` shows the sums."""
