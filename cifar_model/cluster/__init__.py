"""Work shared out by Ray, between processes here or the machines of a cluster; nothing else imports Ray."""
