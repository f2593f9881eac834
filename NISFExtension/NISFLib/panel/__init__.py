"""The panel's widgets (qt): they show the controller's state and pass on what the user does."""
