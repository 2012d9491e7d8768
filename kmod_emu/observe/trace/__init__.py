"""What a module does, call by call: who follows its code, and the forms in which it is written down."""
