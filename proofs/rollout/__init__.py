"""A version on trial beside the live one: who answers, how soon a guard acts, and what a shadow costs."""
