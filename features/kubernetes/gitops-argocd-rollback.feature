@kubernetes @gitops @gate
Feature: Rolling back to an entry of Argo CD's history

  Argo CD has kept what it applied before, and goes back to it with no commit. It refuses while auto-sync is on, so
  that goes off first, and on again only when the repository says the same as the cluster.

  Background:
    Given the service "booth"
    And 40 journeys per second by 20 users

  Scenario: The entry before comes back, then the repository follows
    When release "v2-francs-only" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "argocd-rollback"
    Then service is restored within 5 minutes
