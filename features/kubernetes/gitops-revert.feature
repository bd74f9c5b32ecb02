@kubernetes @gitops @gate
Feature: Rolling back by git revert

  What runs is what lies in a repository. To go back is to revert the commit: Argo CD sees that, applies it, and the
  report says how long each part took, from the commit to every pod.

  Background:
    Given the service "booth"
    And 40 journeys per second by 20 users

  Scenario: The commit of the release is reverted
    When release "v2-francs-only" is deployed over "v1"
    Then users are harmed
    When it is rolled back by its plan
    Then service is restored within 5 minutes

  Scenario: Nobody tells Argo CD, which finds out when it next asks
    When release "v2-francs-only" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "waits-for-argocd"
    Then service is restored within 5 minutes
