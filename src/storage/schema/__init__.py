"""The tables of the database: made from the models, compared with them, brought up to date."""
