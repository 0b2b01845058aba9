"""The gradient checker: is a hand-written backward pass right, and if not, which line is wrong?"""
