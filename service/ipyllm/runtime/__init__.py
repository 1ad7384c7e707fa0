"""The service thread with its event loop, and interruptible waits."""
