"""What the commands of the command line do, once their words are understood: see `fcnet_cli`."""
