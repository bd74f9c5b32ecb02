package service

import "embed"

// Schemas are JSON Schemas (draft 2020-12) of service.yaml, release.yaml and plans, for editors: NAME.schema.json of service,
// release and plan. What they cannot say, such as which names must exist, the loaders do.
//
//go:embed schemas/*.json
var Schemas embed.FS
