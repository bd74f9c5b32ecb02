@control @kubernetes @gate
Feature: Control: kubectl rollout undo behind Helm's back

  The pods go back and all is well. Helm still believes in the bad release: the next upgrade, which is about
  something else, brings it with it.

  Background:
    Given the service "shop" with 20000 orders
    And a streaming replica
    And 30 journeys per second by 30 users

  Scenario: The next upgrade brings the bad release back
    When release "v2-fails-checkouts" is deployed over "v1"
    Then users are harmed
    When it is rolled back by the plan "forgets-helm"
    Then the drill fails because "every instance serves the target release"
