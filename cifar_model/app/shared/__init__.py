"""What several pages of the app share."""
