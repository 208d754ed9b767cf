//! A template whose text is all of a value of a row, such as a URL that a server has named. Pure.

use std::collections::BTreeSet;

use super::escape_context::EscapeContext;
use super::pieces::is_one_value;
use super::template::{RenderContext, Template, Templates};
use crate::error::Error;
use crate::row::Row;

/// A template of one value, which nothing escapes.
pub struct TextTemplate {
    templates: Box<Templates>,
    template: Template,
}

impl TextTemplate {
    /// Compiles a text; none if it is not one value.
    ///
    /// # Errors
    /// Why it is no template, or which variable is not set.
    pub fn of_one_value(
        text: &str,
        context: &RenderContext<'_>,
    ) -> Result<Option<TextTemplate>, Error> {
        if !is_one_value(text) {
            return Ok(None);
        }
        let mut templates = Box::new(Templates::new());
        let template = templates.add(EscapeContext::Text, text).map_err(Error::plan)?;
        templates.set_context(context)?;
        Ok(Some(TextTemplate { templates, template }))
    }

    /// The fields of the row that it uses.
    pub fn fields(&self) -> &BTreeSet<String> {
        &self.templates.used().fields
    }

    /// Whether it uses secrets of the job.
    pub fn carries_secrets(&self) -> bool {
        self.templates.carry_secrets()
    }

    /// The text of a row.
    ///
    /// # Errors
    /// Which value is missing or does not fit.
    pub fn render(&self, row: &Row) -> Result<String, String> {
        self.templates.scope(&row.fields).render(self.template)
    }
}
