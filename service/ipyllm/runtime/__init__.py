"""What calls run on: the service thread and its event loop, interruptible waits."""
