// Package cache is a Redis or Valkey as drills see it: its programs on this machine, and what a script finds in it.
package cache

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"backout/harness/service"
)

// ErrAnswered is of what the server answered instead of what was asked for: it was reached, and says something else.
var ErrAnswered = errors.New("it answered")

// URL of a database on a server of this machine.
func URL(host string, port int, password string, database int) string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("default", password), Host: net.JoinHostPort(host, strconv.Itoa(port)),
		Path: "/" + strconv.Itoa(database)}
	return u.String()
}

// Client is a connection to one cache, which is dialled when it is needed.
type Client struct{ redis *redis.Client }

// Open makes a client that never asks twice. name marks its connection on the server.
func Open(url, name string) (*Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, errors.New("the address of the cache cannot be read") // the error holds the password
	}
	o.ClientName = name
	o.Protocol = 2
	o.DisableIdentity = true
	o.ContextTimeoutEnabled = true
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.PoolSize = 1
	o.Dialer = service.DialHere
	// The library writes every refused connection to stderr, amid what people are told; we have it as an error.
	logging.Disable()
	return &Client{redis.NewClient(o)}, nil
}

// Ping says whether it answers.
func (c *Client) Ping(ctx context.Context) error { return c.redis.Ping(ctx).Err() }

// Count runs a script that can only read, and returns the whole number that the script returns.
func (c *Client) Count(ctx context.Context, script string) (int, error) {
	answer, err := c.redis.EvalRO(ctx, script, nil).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return 0, fmt.Errorf("%w nil, a whole number was expected: the script must return one", ErrAnswered)
	case errors.As(err, new(redis.Error)):
		return 0, fmt.Errorf("%w: %w", ErrAnswered, err)
	case err != nil:
		return 0, err
	}
	n, is := answer.(int64)
	if !is || n < 0 {
		return 0, fmt.Errorf("%w %v, a whole number of at least 0 was expected", ErrAnswered, answer)
	}
	return int(n), nil
}

// Close ends its connection.
func (c *Client) Close() error { return c.redis.Close() }
