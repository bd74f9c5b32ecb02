@control @kubernetes @gate
Feature: Control: kubectl rollout undo when the tag was overwritten

  The revision of before has the same tag, and the tag means the bad release now. Undo says that it has rolled out, the
  Deployment is as it was, and every pod runs the bad image.

  Background:
    Given the service "stand"
    And 40 journeys per second by 20 users

  Scenario: The revision of before has the bad image
    When release "v2-pushed-over-v1" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "undoes-the-tag"
    Then the drill fails because "every instance serves the target release"
