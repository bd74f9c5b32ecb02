package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"backout/harness/environment/kubernetes"
)

// rbacCommand prints what whoever owns a namespace applies so that drills can run in it.
func rbacCommand() *cobra.Command {
	var namespace string
	c := &cobra.Command{
		Use:   "rbac",
		Short: "Print an account with the least rights for drills in a namespace of a cluster that exists",
		Long: `Print a ServiceAccount, a Role and a RoleBinding with all rights that a drill needs, and no other, in one namespace:
those of whoever deploys and rolls back there, and the harness's own.`,
		Example: `  backout rbac --namespace drills | kubectl apply -f -
  kubectl create token backout --namespace drills --duration 12h`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if namespace == "" {
				return errors.New("--namespace: expected the namespace in which drills are to run, found none")
			}
			text, err := kubernetes.RBAC(namespace)
			if err == nil {
				fmt.Fprint(c.OutOrStdout(), text)
			}
			return err
		},
	}
	c.Flags().StringVar(&namespace, "namespace", "", "the namespace in which drills are to run")
	return c
}
