@control @kubernetes @gate
Feature: Control: kubectl rollout undo where a ConfigMap is bad

  Undo brings back what the Deployment says of its pods, which was never wrong. The new pods read the same
  ConfigMap.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The ConfigMap stays as it is
    When release "v2-free-soup" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "undoes-the-deployment"
    Then the drill fails because "every instance serves the target release"
