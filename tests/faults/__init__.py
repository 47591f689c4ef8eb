"""What the books promise when something breaks: other writers, lost connections, full disks, killed servers."""
