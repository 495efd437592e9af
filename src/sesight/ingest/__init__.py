"""From the bytes a transport hands over to trusted events, committed exactly once."""
