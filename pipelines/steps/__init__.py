"""What the commands are made of: workflows that connect the library to the outside world."""
