package rollback

import (
	"context"

	"backout/harness/service"
)

// World is what checks need to know of the place where the drill happens.
type World interface {
	// Instances are those of the drilled service, now.
	Instances() []service.Instance
	// Dependants are the services that depend on it.
	Dependants() []*service.Service
	// Clone starts a side stage at the target release's schema. urls is where each service is reached, by name.
	Clone(ctx context.Context) (urls map[string]string, close func() error, err error)
	// Journey runs a journey of a service once and says why it did not succeed; baseURL "" is where traffic goes.
	Journey(ctx context.Context, service, journey, baseURL string) error
	// Impact is which instances of the release from the rollback is about to touch, or has touched since it began. It is asked once before the
	// first step, with begun false.
	Impact(ctx context.Context, from string, begun bool) (Impact, error)
	// Artefact says what is missing of a release's artefact; nil: it is present.
	Artefact(ctx context.Context, release string) error
}
