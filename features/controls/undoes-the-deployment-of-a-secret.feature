@control @kubernetes @gate
Feature: Control: kubectl rollout undo where a Secret is bad

  Undo brings back what the Deployment says of its pods. The Secret that they mount is another object, and as bad as
  it was.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The Secret stays as it is
    When release "v2-short-key" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "undoes-the-deployment"
    Then the drill fails because "every instance serves the target release"
