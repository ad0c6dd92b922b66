//! Fields that change their type from record to record and from file to file.
