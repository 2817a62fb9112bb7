"""API Priority and Fairness: nobody's requests keep everybody else's waiting."""
