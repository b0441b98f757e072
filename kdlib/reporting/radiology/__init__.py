"""Films of two classes: a teacher, its student alone, and with its teacher."""
