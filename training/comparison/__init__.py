"""A recipe's variants side by side: which (`variants`), what each takes and reaches (`measure`), tables and plots."""
