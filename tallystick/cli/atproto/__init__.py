"""`tally atproto …` and the roles behind it."""
