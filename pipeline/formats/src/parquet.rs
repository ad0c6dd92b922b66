//! Parquet: copies of the files of the run's mixture, byte for byte.

use std::fs::File;

use anyhow::Result;

use crate::card::{Config, Facts, Use};
use crate::{Export, ExportFormat, Folder, MixturePart};

/// The export format `parquet`.
pub(crate) const PARQUET: ExportFormat = ExportFormat {
    name: "parquet",
    doc: "Parquet, as in the run",
    has_token_ids: false,
    open: |_| Ok(Box::new(Parquet::default())),
};

#[derive(Default)]
struct Parquet {
    files: Vec<String>,
    bytes: u64,
}

impl Export for Parquet {
    fn part(&mut self, part: &dyn MixturePart, folder: &dyn Folder) -> Result<()> {
        let name = format!("{}.parquet", part.stem());
        folder.put(&name, &mut |out| {
            self.bytes += std::io::copy(&mut File::open(part.path())?, out)?;
            Ok(())
        })?;
        self.files.push(name);
        Ok(())
    }

    fn finish(&mut self, _: &dyn Folder, card: &mut Facts) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }

        // The files are named one by one, because a pattern would also find older files.
        let config = Config {
            name: "default".to_owned(),
            files: std::mem::take(&mut self.files),
            bytes: self.bytes,
        };
        card.uses.push(Use::of_config(&config));
        card.configs.push(config);
        Ok(())
    }
}
