"""The demo: the main job, from real footage to a verdict, in some minutes on two cores."""
