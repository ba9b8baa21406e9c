"""What happens while user code runs."""
