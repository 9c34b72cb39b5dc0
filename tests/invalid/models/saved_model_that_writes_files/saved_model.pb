

leak	WriteFile