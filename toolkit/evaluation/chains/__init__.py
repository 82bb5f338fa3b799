"""What a guard's chain of reasoning does to its verdict, and two guards at the same false-positive rate."""
